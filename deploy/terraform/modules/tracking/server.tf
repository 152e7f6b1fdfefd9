# MLflow behind a load balancer: runs and versions in the database, artifacts in the bucket, users by password.

data "aws_region" "current" {}

locals {
  port = 5000
  # As compose has it in deploy/compose/mlflow_accounts.ini. MLflow's own tables and those of its users know
  # their versions apart, so one database has both. The password is the environment's.
  accounts = <<-END
    [mlflow]
    default_permission = READ
    database_uri = postgresql+psycopg:///mlflow
    admin_username = millrace
    authorization_function = mlflow.server.auth:authenticate_request_basic_auth
    auth_cache_ttl_seconds = 60
  END
  # libpq takes server, user and password from the environment.
  environment = {
    HOME                               = "/millrace/.millrace"
    TMPDIR                             = "/millrace/.millrace"
    PGHOST                             = aws_db_instance.this.address
    PGUSER                             = "mlflow"
    PGDATABASE                         = "mlflow"
    PGSSLMODE                          = "require"
    AWS_DEFAULT_REGION                 = data.aws_region.current.name
    MLFLOW_BACKEND_STORE_URI           = "postgresql+psycopg:///mlflow"
    MLFLOW_ARTIFACTS_DESTINATION       = "s3://${var.bucket}/mlflow"
    MLFLOW_AUTH_CONFIG_PATH            = "/millrace/.millrace/accounts.ini"
    MLFLOW_SERVER_ENABLE_JOB_EXECUTION = "false"
    MLFLOW_DISABLE_TELEMETRY           = "true"
  }
  secrets = {
    PGPASSWORD                     = "${aws_db_instance.this.master_user_secret[0].secret_arn}:password::"
    MLFLOW_AUTH_ADMIN_PASSWORD     = aws_secretsmanager_secret.this["password"].arn
    MLFLOW_FLASK_SERVER_SECRET_KEY = aws_secretsmanager_secret.this["session"].arn
  }
}

module "load_balancer" {
  source       = "../load_balancer"
  name         = "${var.name}-mlflow"
  vpc_id       = var.vpc_id
  subnet_ids   = var.public_subnet_ids
  client_cidrs = var.client_cidrs
  ports        = [443]
  target_port  = local.port
  protect      = var.protect
}

resource "aws_lb_listener" "this" {
  load_balancer_arn = module.load_balancer.arn
  port              = 443
  protocol          = "HTTPS"
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-2021-06"
  certificate_arn   = var.certificate_arn

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.this.arn
  }
}

resource "aws_lb_target_group" "this" {
  #checkov:skip=CKV_AWS_378:TLS ends at the load balancer; behind it only its own security group gets to the task, by private subnets.
  name_prefix          = "mlf-"
  vpc_id               = var.vpc_id
  target_type          = "ip"
  protocol             = "HTTP"
  port                 = local.port
  deregistration_delay = 30
  tags                 = { Name = "${var.name}-mlflow" }

  health_check {
    path = "/health"
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_ecs_service" "this" {
  name                              = "mlflow"
  cluster                           = var.cluster_arn
  task_definition                   = aws_ecs_task_definition.this.arn
  desired_count                     = 1
  launch_type                       = "FARGATE"
  enable_ecs_managed_tags           = true
  propagate_tags                    = "SERVICE"
  health_check_grace_period_seconds = 120
  depends_on                        = [aws_lb_listener.this, aws_iam_role_policy.start]

  network_configuration {
    subnets         = var.private_subnet_ids
    security_groups = [aws_security_group.server.id]
  }

  load_balancer {
    target_group_arn = aws_lb_target_group.this.arn
    container_name   = "mlflow"
    container_port   = local.port
  }

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }
}

resource "aws_ecs_task_definition" "this" {
  family                   = "${var.name}-mlflow"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = 1024
  memory                   = 2048
  execution_role_arn       = aws_iam_role.start.arn
  task_role_arn            = aws_iam_role.server.arn

  # The image makes this folder its user's.
  volume {
    name = "state"
  }

  container_definitions = jsonencode([{
    name                   = "mlflow"
    image                  = var.image
    essential              = true
    readonlyRootFilesystem = true
    entryPoint             = ["/bin/sh", "-euc"]
    command = [<<-END
      printf '%s' '${local.accounts}' >"$MLFLOW_AUTH_CONFIG_PATH"
      exec .venv/bin/python -m mlflow server --app-name basic-auth --host 0.0.0.0 --port ${local.port} --workers 1 \
        --allowed-hosts '${var.host}'
    END
    ]
    # RDS changes the password now and then: a server that has the old one is ended, the next gets the new one.
    healthCheck = {
      command     = ["CMD", ".venv/bin/python", "-c", "import psycopg; psycopg.connect().close()"]
      interval    = 30
      timeout     = 10
      retries     = 3
      startPeriod = 120
    }
    portMappings    = [{ containerPort = local.port, hostPort = local.port, protocol = "tcp" }]
    mountPoints     = [{ sourceVolume = "state", containerPath = "/millrace/.millrace", readOnly = false }]
    linuxParameters = { initProcessEnabled = true, capabilities = { drop = ["ALL"] } }
    environment     = [for name, value in local.environment : { name = name, value = value }]
    secrets         = [for name, arn in local.secrets : { name = name, valueFrom = arn }]
    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.this.name
        awslogs-region        = data.aws_region.current.name
        awslogs-stream-prefix = "mlflow"
      }
    }
  }])
}

resource "aws_cloudwatch_log_group" "this" {
  name              = "/${var.name}/mlflow"
  retention_in_days = 365
  kms_key_id        = var.kms_key_arn
}

resource "aws_security_group" "server" {
  name_prefix = "${var.name}-mlflow-"
  description = "MLflow of ${var.name}"
  vpc_id      = var.vpc_id
  tags        = { Name = "${var.name}-mlflow" }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_vpc_security_group_ingress_rule" "server" {
  security_group_id            = aws_security_group.server.id
  description                  = "Its load balancer"
  referenced_security_group_id = module.load_balancer.security_group_id
  ip_protocol                  = "tcp"
  from_port                    = local.port
  to_port                      = local.port
}

resource "aws_vpc_security_group_egress_rule" "database" {
  security_group_id            = aws_security_group.server.id
  description                  = "Its database"
  referenced_security_group_id = aws_security_group.database.id
  ip_protocol                  = "tcp"
  from_port                    = 5432
  to_port                      = 5432
}

# Artifacts, image, log and secrets are AWS' own servers', by TLS.
resource "aws_vpc_security_group_egress_rule" "tls" {
  security_group_id = aws_security_group.server.id
  description       = "Artifacts, image, log, secrets"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

# What ECS may do to start the task.
resource "aws_iam_role" "start" {
  name               = "${var.name}-mlflow-start"
  assume_role_policy = local.tasks_only
}

resource "aws_iam_role_policy" "start" {
  name = "start"
  role = aws_iam_role.start.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      # It has no resource to be limited to.
      { Effect = "Allow", Action = "ecr:GetAuthorizationToken", Resource = "*" },
      {
        Effect   = "Allow"
        Action   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
        Resource = var.repository_arn
      },
      {
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        Resource = "${aws_cloudwatch_log_group.this.arn}:*"
      },
      {
        Effect = "Allow"
        Action = "secretsmanager:GetSecretValue"
        Resource = concat(
          [aws_db_instance.this.master_user_secret[0].secret_arn],
          [for secret in aws_secretsmanager_secret.this : secret.arn],
        )
      },
      { Effect = "Allow", Action = "kms:Decrypt", Resource = var.kms_key_arn },
    ]
  })
}

# What MLflow itself may do: read and write its part of the bucket.
resource "aws_iam_role" "server" {
  name               = "${var.name}-mlflow"
  assume_role_policy = local.tasks_only
}

resource "aws_iam_role_policy" "server" {
  name = "artifacts"
  role = aws_iam_role.server.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect    = "Allow"
        Action    = "s3:ListBucket"
        Resource  = var.bucket_arn
        Condition = { StringLike = { "s3:prefix" = "mlflow/*" } }
      },
      {
        Effect   = "Allow"
        Action   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"]
        Resource = "${var.bucket_arn}/mlflow/*"
      },
      { Effect = "Allow", Action = ["kms:Decrypt", "kms:GenerateDataKey"], Resource = var.kms_key_arn },
    ]
  })
}

locals {
  tasks_only = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "ecs-tasks.amazonaws.com" }
    }]
  })
}
