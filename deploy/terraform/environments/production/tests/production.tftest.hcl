# Planned by the provider itself, which for that has nobody to ask: what it would ask is told here.

provider "aws" {
  region                      = "eu-central-1"
  access_key                  = "test"
  secret_key                  = "test"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}

override_data {
  target = module.environment.data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

override_data {
  target = module.environment.module.identity.data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

override_data {
  target = module.environment.module.registry.data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

# MLflow's passwords would be drawn by AWS.
override_module {
  target = module.environment.module.tracking
  outputs = {
    url             = "https://mlflow.example.org"
    dns_name        = "mlflow.elb.amazonaws.com"
    password_secret = "millrace-production/mlflow/password"
  }
}

variables {
  region            = "eu-central-1"
  zones             = ["eu-central-1a", "eu-central-1b"]
  bucket            = "millrace-production-artifacts"
  domain            = "example.org"
  certificate_arn   = "arn:aws:acm:eu-central-1:123456789012:certificate/1"
  client_cidrs      = ["203.0.113.0/24"]
  github_repository = "example/millrace"
  zenml_url         = "https://zenml.example.org"
  services          = { iris = {} }
}

run "two_of_everything" {
  command = plan

  assert {
    condition     = output.targets["ecs"]["MILLRACE_ECS_TASKS"] == "2"
    error_message = "One task is none while it is replaced."
  }
  assert {
    condition     = output.stack["MILLRACE_PRODUCTION_ZENML_URL"] == "https://zenml.example.org"
    error_message = "The stack's variables begin with MILLRACE_PRODUCTION_."
  }
}
