# Where releases are tried: small, in one zone, and deleted without asking.

module "environment" {
  source            = "../../modules/environment"
  environment       = "staging"
  cidr              = "10.20.0.0/16"
  zones             = var.zones
  bucket            = var.bucket
  domain            = var.domain
  certificate_arn   = var.certificate_arn
  client_cidrs      = var.client_cidrs
  github_repository = var.github_repository
  oidc_provider_arn = var.oidc_provider_arn
  runner_digest     = var.runner_digest
  zenml_url         = var.zenml_url
  services          = var.services
  functions         = var.functions
  tasks             = 1
  database_class    = "db.t4g.micro"
  multi_az          = false
  protect           = false
}
