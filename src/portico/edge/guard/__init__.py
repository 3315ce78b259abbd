"""What the guard of a route does on the way: asks the services, and holds answers back until they have been judged."""
