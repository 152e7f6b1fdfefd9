# All of one environment. What staging and production differ in is in their own folders.

data "aws_caller_identity" "current" {}
data "aws_region" "current" {}

locals {
  name = "millrace-${var.environment}"
  # DNS knows no underscores.
  hosts = { for problem in keys(var.services) : problem => "${replace(problem, "_", "-")}.${var.domain}" }
}

module "network" {
  source      = "../network"
  name        = local.name
  cidr        = var.cidr
  zones       = var.zones
  kms_key_arn = aws_kms_key.this.arn
}

module "artifact_store" {
  source        = "../artifact_store"
  bucket        = var.bucket
  kms_key_arn   = aws_kms_key.this.arn
  force_destroy = !var.protect
}

module "registry" {
  source                = "../registry"
  repositories          = [for image in setunion(["runner"], keys(var.services), keys(var.functions)) : "${local.name}/${image}"]
  function_repositories = [for problem in keys(var.functions) : "${local.name}/${problem}"]
  kms_key_arn           = aws_kms_key.this.arn
  force_destroy         = !var.protect
}

module "tracking" {
  count              = var.runner_digest == null ? 0 : 1
  source             = "../tracking"
  name               = local.name
  cluster_arn        = aws_ecs_cluster.this.arn
  vpc_id             = module.network.vpc_id
  public_subnet_ids  = module.network.public_subnet_ids
  private_subnet_ids = module.network.private_subnet_ids
  client_cidrs       = var.client_cidrs
  host               = "mlflow.${var.domain}"
  certificate_arn    = var.certificate_arn
  image              = "${module.registry.urls["${local.name}/runner"]}@${var.runner_digest}"
  repository_arn     = module.registry.arns["${local.name}/runner"]
  bucket             = module.artifact_store.bucket
  bucket_arn         = module.artifact_store.arn
  kms_key_arn        = aws_kms_key.this.arn
  database_class     = var.database_class
  multi_az           = var.multi_az
  protect            = var.protect
}

module "service" {
  for_each           = var.services
  source             = "../service"
  name               = local.name
  problem            = each.key
  cluster_arn        = aws_ecs_cluster.this.arn
  vpc_id             = module.network.vpc_id
  public_subnet_ids  = module.network.public_subnet_ids
  private_subnet_ids = module.network.private_subnet_ids
  client_cidrs       = var.client_cidrs
  certificate_arn    = var.certificate_arn
  repository_url     = module.registry.urls["${local.name}/${each.key}"]
  repository_arn     = module.registry.arns["${local.name}/${each.key}"]
  kms_key_arn        = aws_kms_key.this.arn
  cpu                = each.value.cpu
  memory             = each.value.memory
  settings           = each.value.settings
  secrets            = each.value.secrets
  protect            = var.protect
}

module "function" {
  for_each    = var.functions
  source      = "../function"
  name        = local.name
  problem     = each.key
  image       = "${module.registry.urls["${local.name}/${each.key}"]}@${each.value.digest}"
  kms_key_arn = aws_kms_key.this.arn
  memory      = each.value.memory
  concurrency = each.value.concurrency
  settings    = each.value.settings
}

module "identity" {
  source             = "../identity"
  name               = local.name
  github_repository  = var.github_repository
  github_environment = var.environment
  oidc_provider_arn  = var.oidc_provider_arn
  repository_arns    = values(module.registry.arns)
  cluster_arn        = aws_ecs_cluster.this.arn
  role_arns          = flatten([for service in module.service : service.role_arns])
  listener_arns      = flatten([for service in module.service : service.listener_arns])
  log_group_arns     = [for service in module.service : service.log_group_arn]
  function_arns      = [for function in module.function : function.arn]
  bucket_arn         = module.artifact_store.arn
  kms_key_arn        = aws_kms_key.this.arn
}

resource "aws_ecs_cluster" "this" {
  name = local.name

  setting {
    name  = "containerInsights"
    value = "enabled"
  }
}

# One key for all that this environment keeps.
resource "aws_kms_key" "this" {
  description             = "Whatever ${local.name} keeps"
  enable_key_rotation     = true
  deletion_window_in_days = var.protect ? 30 : 7
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "Account"
        Effect    = "Allow"
        Principal = { AWS = "arn:aws:iam::${data.aws_caller_identity.current.account_id}:root" }
        Action    = "kms:*"
        Resource  = "*"
      },
      {
        Sid       = "Logs"
        Effect    = "Allow"
        Principal = { Service = "logs.${data.aws_region.current.name}.amazonaws.com" }
        Action    = ["kms:Encrypt*", "kms:Decrypt*", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:Describe*"]
        Resource  = "*"
        Condition = {
          ArnLike = {
            "kms:EncryptionContext:aws:logs:arn" = "arn:aws:logs:${data.aws_region.current.name}:${data.aws_caller_identity.current.account_id}:*"
          }
        }
      },
    ]
  })
}

resource "aws_kms_alias" "this" {
  name          = "alias/${local.name}"
  target_key_id = aws_kms_key.this.key_id
}
