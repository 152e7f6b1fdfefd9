# Who may do what from outside: GitHub's workflows deploy by a role, without a key; pipelines reach the bucket.

data "aws_caller_identity" "current" {}
data "aws_region" "current" {}

locals {
  github       = "token.actions.githubusercontent.com"
  provider_arn = var.oidc_provider_arn != null ? var.oidc_provider_arn : aws_iam_openid_connect_provider.github[0].arn
  here         = "${data.aws_region.current.name}:${data.aws_caller_identity.current.account_id}"
  cluster_name = element(split("/", var.cluster_arn), 1)
  # No statement may be without a resource.
  deployment = [for statement in [
    # These have no resource to be limited to.
    {
      Action = [
        "cloudwatch:GetMetricStatistics",
        "ecr:GetAuthorizationToken",
        "ecs:DescribeTaskDefinition",
        "elasticloadbalancing:DescribeListeners",
        "elasticloadbalancing:DescribeTags",
        "elasticloadbalancing:DescribeTargetGroups",
      ]
      Resource = ["*"]
    },
    {
      Action = [
        "ecr:BatchCheckLayerAvailability",
        "ecr:BatchGetImage",
        "ecr:CompleteLayerUpload",
        "ecr:DescribeImages",
        "ecr:GetDownloadUrlForLayer",
        "ecr:InitiateLayerUpload",
        "ecr:PutImage",
        "ecr:UploadLayerPart",
      ]
      Resource = var.repository_arns
    },
    {
      Action   = ["ecs:DescribeServices", "ecs:UpdateService"]
      Resource = ["arn:aws:ecs:${local.here}:service/${local.cluster_name}/*"]
    },
    {
      Action   = ["ecs:RegisterTaskDefinition", "ecs:TagResource"]
      Resource = ["arn:aws:ecs:${local.here}:task-definition/${var.name}-*:*"]
    },
    { Action = ["elasticloadbalancing:ModifyListener"], Resource = var.listener_arns },
    { Action = ["logs:FilterLogEvents"], Resource = [for arn in var.log_group_arns : "${arn}:*"] },
    {
      Action = [
        "lambda:GetAlias",
        "lambda:GetFunction",
        "lambda:GetFunctionConfiguration",
        "lambda:GetFunctionUrlConfig",
        "lambda:PublishVersion",
        "lambda:UpdateAlias",
        "lambda:UpdateFunctionCode",
      ]
      Resource = concat(var.function_arns, [for arn in var.function_arns : "${arn}:*"])
    },
  ] : merge({ Effect = "Allow" }, statement) if length(statement.Resource) > 0]
}

resource "aws_iam_openid_connect_provider" "github" {
  count          = var.oidc_provider_arn == null ? 1 : 0
  url            = "https://${local.github}"
  client_id_list = ["sts.amazonaws.com"]
}

# Trusts the workflows of one repository that run in one of its environments, and nobody else.
resource "aws_iam_role" "deployment" {
  name                 = "${var.name}-deployment"
  description          = "Workflows of ${var.github_repository} in the environment ${var.github_environment}"
  max_session_duration = 3600
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRoleWithWebIdentity"
      Principal = { Federated = local.provider_arn }
      Condition = {
        StringEquals = {
          "${local.github}:aud" = "sts.amazonaws.com"
          "${local.github}:sub" = "repo:${var.github_repository}:environment:${var.github_environment}"
        }
      }
    }]
  })
}

resource "aws_iam_role_policy" "deployment" {
  name = "deploy"
  role = aws_iam_role.deployment.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(local.deployment, [for statement in [{
      Effect    = "Allow"
      Action    = ["iam:PassRole"]
      Resource  = var.role_arns
      Condition = { StringEquals = { "iam:PassedToService" = "ecs-tasks.amazonaws.com" } }
    }] : statement if length(var.role_arns) > 0])
  })
}

# Whose key the stack's S3 client has. `make cloud-environment` makes the key, so that no state file has it.
resource "aws_iam_user" "pipelines" {
  #checkov:skip=CKV_AWS_273:Stack files name a key and a secret, for S3 servers of any make; this user can do nothing but use one bucket.
  name = "${var.name}-pipelines"
}

resource "aws_iam_user_policy" "pipelines" {
  #checkov:skip=CKV_AWS_40:A group of one user would say the same in more words.
  name = "artifacts"
  user = aws_iam_user.pipelines.name
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      { Effect = "Allow", Action = "s3:ListBucket", Resource = var.bucket_arn },
      {
        Effect   = "Allow"
        Action   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"]
        Resource = "${var.bucket_arn}/*"
      },
      { Effect = "Allow", Action = ["kms:Decrypt", "kms:GenerateDataKey"], Resource = var.kms_key_arn },
    ]
  })
}
