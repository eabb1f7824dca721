"""Training: from labelled transactions to a promoted model and a terminal risk snapshot."""
