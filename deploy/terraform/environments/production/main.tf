# Where users are: two of everything, and nothing that holds data is deleted by mistake.

module "environment" {
  source            = "../../modules/environment"
  environment       = "production"
  cidr              = "10.30.0.0/16"
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
  tasks             = 2
  database_class    = "db.t4g.small"
  multi_az          = true
  protect           = true
}
