"""What the service is compared with: a folder a peer, each with its own requirements. docs/benchmarks-peers.md."""
