# MLflow's database. RDS makes its password, keeps it in Secrets Manager and changes it; no state file has it.

resource "aws_db_instance" "this" {
  #checkov:skip=CKV_AWS_157:By var.multi_az, which production sets.
  #checkov:skip=CKV_AWS_293:By var.protect, which only staging unsets.
  #checkov:skip=CKV_AWS_118:The one client is MLflow; CloudWatch's minutes are fine enough for it.
  #checkov:skip=CKV_AWS_353:As above: nothing here is so busy that its queries have to be watched.
  #checkov:skip=CKV_AWS_161:MLflow cannot renew the tokens that would stand for a password.
  identifier                          = "${var.name}-mlflow"
  engine                              = "postgres"
  engine_version                      = "16"
  auto_minor_version_upgrade          = true
  instance_class                      = var.database_class
  allocated_storage                   = var.database_gigabytes
  max_allocated_storage               = 5 * var.database_gigabytes
  storage_type                        = "gp3"
  storage_encrypted                   = true
  kms_key_id                          = var.kms_key_arn
  db_name                             = "mlflow"
  username                            = "mlflow"
  manage_master_user_password         = true
  master_user_secret_kms_key_id       = var.kms_key_arn
  iam_database_authentication_enabled = false
  parameter_group_name                = aws_db_parameter_group.this.name
  db_subnet_group_name                = aws_db_subnet_group.this.name
  vpc_security_group_ids              = [aws_security_group.database.id]
  publicly_accessible                 = false
  multi_az                            = var.multi_az
  backup_retention_period             = var.backup_days
  copy_tags_to_snapshot               = true
  enabled_cloudwatch_logs_exports     = ["postgresql", "upgrade"]
  deletion_protection                 = var.protect
  skip_final_snapshot                 = !var.protect
  final_snapshot_identifier           = "${var.name}-mlflow-last"
}

resource "aws_db_parameter_group" "this" {
  name_prefix = "${var.name}-mlflow-"
  family      = "postgres16"

  parameter {
    name  = "rds.force_ssl"
    value = "1"
  }
  parameter {
    name  = "log_statement"
    value = "ddl"
  }
  # Statements that take longer than this, in milliseconds.
  parameter {
    name  = "log_min_duration_statement"
    value = "1000"
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_db_subnet_group" "this" {
  name       = "${var.name}-mlflow"
  subnet_ids = var.private_subnet_ids
}

resource "aws_security_group" "database" {
  name_prefix = "${var.name}-database-"
  description = "The database of ${var.name}"
  vpc_id      = var.vpc_id
  tags        = { Name = "${var.name}-database" }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_vpc_security_group_ingress_rule" "database" {
  security_group_id            = aws_security_group.database.id
  description                  = "MLflow"
  referenced_security_group_id = aws_security_group.server.id
  ip_protocol                  = "tcp"
  from_port                    = 5432
  to_port                      = 5432
}
