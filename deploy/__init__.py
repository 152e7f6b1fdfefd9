"""What a deployment needs beside the code: servers, their configuration, the system's packages."""
