"""The online half. Imports only the contract part of ``models``."""
