"""HTTP on the control plane: problems, bodies, queries, CORS."""
