terraform {
  required_version = ">= 1.11"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "= 5.100.0"
    }
  }
  # Its bucket and region are told by `terraform init -backend-config=...`.
  backend "s3" {
    key          = "millrace/staging.tfstate"
    encrypt      = true
    use_lockfile = true
  }
}

provider "aws" {
  region = var.region

  default_tags {
    tags = { project = "millrace", environment = "staging" }
  }
}
