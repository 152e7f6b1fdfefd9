# What deployment counts on.

mock_provider "aws" {
  mock_data "aws_region" {
    defaults = { name = "eu-central-1" }
  }
  mock_data "aws_vpc" {
    defaults = { cidr_block = "10.20.0.0/16" }
  }
  mock_resource "aws_lb" {
    defaults = { arn = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:loadbalancer/app/iris/1" }
  }
  mock_resource "aws_lb_target_group" {
    defaults = { arn = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/iris/1" }
  }
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/millrace-staging-iris" }
  }
}

variables {
  name               = "millrace-staging"
  problem            = "iris"
  cluster_arn        = "arn:aws:ecs:eu-central-1:123456789012:cluster/millrace-staging"
  vpc_id             = "vpc-1"
  public_subnet_ids  = ["subnet-1", "subnet-2"]
  private_subnet_ids = ["subnet-3", "subnet-4"]
  client_cidrs       = ["203.0.113.0/24", "198.51.100.0/24"]
  certificate_arn    = "arn:aws:acm:eu-central-1:123456789012:certificate/1"
  repository_url     = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/millrace-staging/iris"
  repository_arn     = "arn:aws:ecr:eu-central-1:123456789012:repository/millrace-staging/iris"
  kms_key_arn        = "arn:aws:kms:eu-central-1:123456789012:key/1"
  protect            = false
}

run "two_colours_both_empty" {
  assert {
    condition     = { for colour, service in aws_ecs_service.this : colour => [service.name, service.desired_count] } == { blue = ["iris-blue", 0], green = ["iris-green", 0] }
    error_message = "Nothing runs before the first deployment."
  }
  assert {
    condition     = { for name, listener in aws_lb_listener.this : listener.tags["traffic"] => [listener.port, listener.protocol] } == { production = [443, "HTTPS"], test = [8443, "HTTPS"] }
    error_message = "Deployment finds the listeners by their tag."
  }
  assert {
    condition     = aws_ecs_task_definition.template.family == "millrace-staging-iris-template"
    error_message = "Deployment finds the template by its family."
  }
}

run "a_task_may_do_little" {
  assert {
    condition = alltrue([
      for container in jsondecode(aws_ecs_task_definition.template.container_definitions) :
      container.readonlyRootFilesystem && container.linuxParameters.capabilities.drop == ["ALL"]
    ])
    error_message = "A container can write its image, or has capabilities."
  }
  assert {
    condition     = !strcontains(aws_iam_role_policy.start.policy, "secretsmanager")
    error_message = "It has no secrets, so it may read none."
  }
}

run "secrets_are_named_one_by_one" {
  variables {
    secrets = { MILLRACE_SERVE_LOG = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:log" }
  }

  assert {
    condition     = strcontains(aws_iam_role_policy.start.policy, "\"secretsmanager:GetSecretValue\",\"Effect\":\"Allow\",\"Resource\":[\"arn:aws:secretsmanager:eu-central-1:123456789012:secret:log\"]")
    error_message = "The start of a task may read its own secrets, and no others."
  }
  assert {
    condition     = jsondecode(aws_ecs_task_definition.template.container_definitions)[0].secrets == [{ name = "MILLRACE_SERVE_LOG", valueFrom = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:log" }]
    error_message = "The container gets it by its ARN."
  }
}

run "a_problem_is_a_name" {
  command = plan

  variables {
    problem = "Iris; rm -rf"
  }

  expect_failures = [var.problem]
}

run "cpu_as_fargate_has_it" {
  command = plan

  variables {
    cpu = 1000
  }

  expect_failures = [var.cpu]
}
