"""Two tenants to look at, made by the same verbs as any other, and the passwords that open them."""
