# Addresses.

mock_provider "aws" {}

variables {
  name        = "millrace-staging"
  cidr        = "10.20.0.0/16"
  zones       = ["eu-central-1a", "eu-central-1b"]
  kms_key_arn = "arn:aws:kms:eu-central-1:123456789012:key/1"
}

run "four_subnets" {
  command = plan

  assert {
    condition     = concat(aws_subnet.public[*].cidr_block, aws_subnet.private[*].cidr_block) == ["10.20.0.0/20", "10.20.16.0/20", "10.20.32.0/20", "10.20.48.0/20"]
    error_message = "Subnets that overlap, or of another size."
  }
  assert {
    condition     = alltrue([for subnet in concat(aws_subnet.public, aws_subnet.private) : subnet.map_public_ip_on_launch != true])
    error_message = "Nothing gets a public address by itself."
  }
}

run "too_small" {
  command = plan

  variables {
    cidr = "10.20.0.0/24"
  }

  expect_failures = [var.cidr]
}

run "one_zone_twice" {
  command = plan

  variables {
    zones = ["eu-central-1a", "eu-central-1a"]
  }

  expect_failures = [var.zones]
}
