# Who is let in, and to what.

mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_region" {
    defaults = { name = "eu-central-1" }
  }
  mock_resource "aws_iam_openid_connect_provider" {
    defaults = { arn = "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com" }
  }
}

variables {
  name               = "millrace-staging"
  github_repository  = "example/millrace"
  github_environment = "staging"
  repository_arns    = ["arn:aws:ecr:eu-central-1:123456789012:repository/millrace-staging/iris"]
  cluster_arn        = "arn:aws:ecs:eu-central-1:123456789012:cluster/millrace-staging"
  role_arns          = ["arn:aws:iam::123456789012:role/millrace-staging-iris-task"]
  listener_arns      = ["arn:aws:elasticloadbalancing:eu-central-1:123456789012:listener/app/iris/1/2"]
  log_group_arns     = []
  function_arns      = []
  bucket_arn         = "arn:aws:s3:::millrace-staging-artifacts"
  kms_key_arn        = "arn:aws:kms:eu-central-1:123456789012:key/1"
}

run "one_repository_in_one_environment" {
  assert {
    condition = jsondecode(aws_iam_role.deployment.assume_role_policy).Statement == [{
      Effect    = "Allow"
      Action    = "sts:AssumeRoleWithWebIdentity"
      Principal = { Federated = "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com" }
      Condition = {
        StringEquals = {
          "token.actions.githubusercontent.com:aud" = "sts.amazonaws.com"
          "token.actions.githubusercontent.com:sub" = "repo:example/millrace:environment:staging"
        }
      }
    }]
    error_message = "Somebody else is trusted, or nobody."
  }
}

run "nothing_is_allowed_everywhere" {
  assert {
    condition = alltrue([
      for statement in jsondecode(aws_iam_role_policy.deployment.policy).Statement :
      alltrue([for action in statement.Action : !strcontains(action, "*")])
    ])
    error_message = "An action with a wildcard."
  }
  assert {
    condition = toset(flatten([
      for statement in jsondecode(aws_iam_role_policy.deployment.policy).Statement :
      statement.Action if contains(statement.Resource, "*")
      ])) == toset([
      "cloudwatch:GetMetricStatistics",
      "ecr:GetAuthorizationToken",
      "ecs:DescribeTaskDefinition",
      "elasticloadbalancing:DescribeListeners",
      "elasticloadbalancing:DescribeTags",
      "elasticloadbalancing:DescribeTargetGroups",
    ])
    error_message = "On all resources, only what reads and cannot be limited."
  }
  assert {
    condition = alltrue([
      for statement in jsondecode(aws_iam_role_policy.deployment.policy).Statement : length(statement.Resource) > 0
    ])
    error_message = "AWS refuses a statement without a resource."
  }
}

run "a_provider_that_is_there_is_used" {
  variables {
    oidc_provider_arn = "arn:aws:iam::123456789012:oidc-provider/theirs"
  }

  assert {
    condition     = length(aws_iam_openid_connect_provider.github) == 0
    error_message = "An account can have one only."
  }
  assert {
    condition     = jsondecode(aws_iam_role.deployment.assume_role_policy).Statement[0].Principal.Federated == "arn:aws:iam::123456789012:oidc-provider/theirs"
    error_message = "Another provider is trusted."
  }
}

run "no_wildcard_for_a_repository" {
  command = plan

  variables {
    github_repository = "example/*"
  }

  expect_failures = [var.github_repository]
}

run "no_wildcard_for_an_environment" {
  command = plan

  variables {
    github_environment = "*"
  }

  expect_failures = [var.github_environment]
}
