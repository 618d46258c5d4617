"""Quality of ranked lists on held-out items: metrics, protocol, slices, and the document, tables and pictures of it."""
