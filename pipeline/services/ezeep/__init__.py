"""ezeep Blue: its REST API, its users as print users, and ezeep as a print system. Verified against documents only."""
