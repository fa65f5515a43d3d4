module ukgpro-operator/tests/node

go 1.26.0
