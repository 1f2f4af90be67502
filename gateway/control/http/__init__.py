"""HTTP on the control plane: authorization, bodies, queries, problems, CORS."""
