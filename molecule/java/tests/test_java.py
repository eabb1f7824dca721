from testinfra.host import Host


def test_java_runs(host: Host) -> None:
    assert 'version "17.' in host.run("java -version").stderr


def test_no_desktop_came_along(host: Host) -> None:
    for package in ("openjdk-17-jre", "libgtk-3-0", "libx11-6"):
        assert not host.package(package).is_installed
