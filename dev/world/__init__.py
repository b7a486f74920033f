"""The local AWS of Holdfast: servers, clock, fleet, deployment. See ../README.md."""
