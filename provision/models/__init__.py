"""What is known of Ollama's models without asking a server: names, Modelfiles, parameters, progress. Pure."""
