module ukgpro-operator/release/prune

go 1.26.0
