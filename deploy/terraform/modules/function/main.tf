# The service of one problem as a function: its image with the adapter that turns invocations into HTTP
# (deploy/lambda.Dockerfile). Users come by the URL of the alias `live`, who deploys tries a candidate by that of
# `candidate`. Which version each of them is, is the business of deployment (targets/aws_lambda.py).

locals {
  function = "${var.name}-${var.problem}"
  aliases  = toset(["live", "candidate"])
}

resource "aws_lambda_function" "this" {
  #checkov:skip=CKV_AWS_116:It is only asked by URL, synchronously: who asked is told of the failure, and nothing is queued.
  #checkov:skip=CKV_AWS_117:It talks to nobody: the model is in its image.
  #checkov:skip=CKV_AWS_272:Code signing is for archives; an image is named by its digest.
  #checkov:skip=CKV_AWS_50:It calls nothing that a trace could show.
  function_name                  = local.function
  role                           = aws_iam_role.this.arn
  package_type                   = "Image"
  image_uri                      = var.image
  memory_size                    = var.memory
  timeout                        = 30
  reserved_concurrent_executions = var.concurrency
  kms_key_arn                    = var.kms_key_arn
  publish                        = true
  depends_on                     = [aws_cloudwatch_log_group.this, aws_iam_role_policy.this]

  environment {
    # Its disk is gone with it, so a prediction log has to be elsewhere, if anywhere.
    variables = merge({ MILLRACE_SERVE_LOG = "off" }, var.settings)
  }

  lifecycle {
    ignore_changes = [image_uri]
  }
}

resource "aws_lambda_alias" "this" {
  for_each         = local.aliases
  name             = each.key
  function_name    = aws_lambda_function.this.function_name
  function_version = aws_lambda_function.this.version

  lifecycle {
    ignore_changes = [function_version]
  }
}

# The provider itself adds the permission that everybody may ask.
resource "aws_lambda_function_url" "this" {
  #checkov:skip=CKV_AWS_258:The service is asked by programs that have no AWS credentials; concurrency bounds what strangers can cost.
  for_each           = local.aliases
  function_name      = aws_lambda_function.this.function_name
  qualifier          = aws_lambda_alias.this[each.key].name
  authorization_type = "NONE"
}

resource "aws_cloudwatch_log_group" "this" {
  name              = "/aws/lambda/${local.function}"
  retention_in_days = 365
  kms_key_id        = var.kms_key_arn
}

resource "aws_iam_role" "this" {
  name = "${local.function}-function"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "lambda.amazonaws.com" }
    }]
  })
}

resource "aws_iam_role_policy" "this" {
  name = "log"
  role = aws_iam_role.this.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        Resource = "${aws_cloudwatch_log_group.this.arn}:*"
      },
      { Effect = "Allow", Action = "kms:Decrypt", Resource = var.kms_key_arn },
    ]
  })
}
