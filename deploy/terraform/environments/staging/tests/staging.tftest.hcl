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
    url             = "https://mlflow.staging.example.org"
    dns_name        = "mlflow.elb.amazonaws.com"
    password_secret = "millrace-staging/mlflow/password"
  }
}

variables {
  region            = "eu-central-1"
  zones             = ["eu-central-1a", "eu-central-1b"]
  bucket            = "millrace-staging-artifacts"
  domain            = "staging.example.org"
  certificate_arn   = "arn:aws:acm:eu-central-1:123456789012:certificate/1"
  client_cidrs      = ["203.0.113.0/24"]
  github_repository = "example/millrace"
  zenml_url         = "https://zenml.staging.example.org"
  services          = { iris = {}, california_housing = { memory = 4096 } }
}

run "before_the_first_image" {
  command = plan

  assert {
    condition     = output.dns != null && length(output.dns) == 2
    error_message = "Without the pipelines' image there is no MLflow, and so no name for it."
  }
  assert {
    condition     = !contains(keys(output.stack), "MILLRACE_STAGING_MLFLOW_URL")
    error_message = "An address of an MLflow that is not there."
  }
  assert {
    condition     = output.targets["ecs"]["MILLRACE_ECS_CLUSTER"] == "millrace-staging" && output.targets["ecs"]["MILLRACE_ECS_TASKS"] == "1"
    error_message = "The target's variables are not those of this environment."
  }
}

run "with_mlflow_and_a_function" {
  command = plan

  variables {
    runner_digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    functions     = { iris = { digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef" } }
  }

  assert {
    condition     = output.stack["MILLRACE_STAGING_MLFLOW_URL"] == "https://mlflow.staging.example.org"
    error_message = "MLflow is not where its name says."
  }
  assert {
    condition     = length(output.dns) == 3
    error_message = "A name for each service, and for MLflow."
  }
}

