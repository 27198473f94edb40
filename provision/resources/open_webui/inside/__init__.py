"""Python that runs inside the container, sent as text to `docker exec`: standard library only."""
