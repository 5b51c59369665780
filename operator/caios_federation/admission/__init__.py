"""Pod admission: how requests are served, and where a decision gets its facts."""
