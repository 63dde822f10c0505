"""The methods of its REST, as documented; importing a module registers its methods."""
