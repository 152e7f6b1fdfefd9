# The password of MLflow's user `millrace` and the key of its sessions. They are made while Terraform runs and
# written to Secrets Manager alone: neither plan nor state has them. Another `secret_string_wo_version` makes
# another one.

ephemeral "aws_secretsmanager_random_password" "this" {
  password_length     = 40
  exclude_punctuation = true
}

resource "aws_secretsmanager_secret" "this" {
  #checkov:skip=CKV2_AWS_57:Clients have the password in their stack's environment; who changes it tells them (docs/terraform.md).
  for_each                = toset(["password", "session"])
  name                    = "${var.name}/mlflow/${each.key}"
  kms_key_id              = var.kms_key_arn
  recovery_window_in_days = var.protect ? 30 : 0
}

resource "aws_secretsmanager_secret_version" "this" {
  for_each                 = aws_secretsmanager_secret.this
  secret_id                = each.value.id
  secret_string_wo         = sha256("${each.key} ${ephemeral.aws_secretsmanager_random_password.this.random_password}")
  secret_string_wo_version = 1
}
