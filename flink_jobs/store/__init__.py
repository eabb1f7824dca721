"""What talks to MinIO and knows the settings: objects, releases, the lake with its reader and compaction."""
