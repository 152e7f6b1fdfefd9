# The service of one problem behind a load balancer, twice: blue and green. Users come by the production
# listener, who deploys tries a candidate by the test listener. Terraform makes both colours empty and never
# looks at them again: which image runs how often, and who has which listener, is the business of deployment
# (targets/ecs.py).

data "aws_region" "current" {}

locals {
  full_name = "${var.name}-${var.problem}"
  port      = 3000
  colours   = toset(["blue", "green"])
  # As deployment finds them: the tag `traffic` of a listener.
  listeners = {
    production = { port = 443, first = "blue" }
    test       = { port = 8443, first = "green" }
  }
}

module "load_balancer" {
  source       = "../load_balancer"
  name         = local.full_name
  vpc_id       = var.vpc_id
  subnet_ids   = var.public_subnet_ids
  client_cidrs = var.client_cidrs
  ports        = [for listener in local.listeners : listener.port]
  target_port  = local.port
  protect      = var.protect
}

resource "aws_lb_listener" "this" {
  for_each          = local.listeners
  load_balancer_arn = module.load_balancer.arn
  port              = each.value.port
  protocol          = "HTTPS"
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-2021-06"
  certificate_arn   = var.certificate_arn
  tags              = { traffic = each.key }

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.this[each.value.first].arn
  }

  lifecycle {
    ignore_changes = [default_action]
  }
}

resource "aws_lb_target_group" "this" {
  #checkov:skip=CKV_AWS_378:TLS ends at the load balancer; behind it only its own security group gets to the tasks, by private subnets.
  for_each             = local.colours
  name_prefix          = "${each.key}-"
  vpc_id               = var.vpc_id
  target_type          = "ip"
  protocol             = "HTTP"
  port                 = local.port
  deregistration_delay = 30
  tags                 = { Name = "${local.full_name}-${each.key}" }

  health_check {
    path                = "/readyz"
    interval            = 10
    timeout             = 5
    healthy_threshold   = 2
    unhealthy_threshold = 3
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_ecs_service" "this" {
  for_each                          = local.colours
  name                              = "${var.problem}-${each.key}"
  cluster                           = var.cluster_arn
  task_definition                   = aws_ecs_task_definition.template.arn
  desired_count                     = 0
  launch_type                       = "FARGATE"
  enable_ecs_managed_tags           = true
  propagate_tags                    = "SERVICE"
  health_check_grace_period_seconds = 60
  depends_on                        = [aws_lb_listener.this]

  network_configuration {
    subnets         = var.private_subnet_ids
    security_groups = [aws_security_group.this.id]
  }

  load_balancer {
    target_group_arn = aws_lb_target_group.this[each.key].arn
    container_name   = "service"
    container_port   = local.port
  }

  # A candidate that does not come up ends as FAILED, and is not started for ever.
  deployment_circuit_breaker {
    enable   = true
    rollback = false
  }

  lifecycle {
    ignore_changes = [task_definition, desired_count]
  }
}

# What every release is made from: deployment puts the image in. Another memory or setting comes with the next
# release.
resource "aws_ecs_task_definition" "template" {
  family                   = "${local.full_name}-template"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.cpu
  memory                   = var.memory
  execution_role_arn       = aws_iam_role.start.arn
  task_role_arn            = aws_iam_role.task.arn

  # The image makes this folder its user's.
  volume {
    name = "state"
  }

  container_definitions = jsonencode([{
    name                   = "service"
    image                  = "${var.repository_url}:template"
    essential              = true
    readonlyRootFilesystem = true
    stopTimeout            = 60
    portMappings           = [{ containerPort = local.port, hostPort = local.port, protocol = "tcp" }]
    mountPoints            = [{ sourceVolume = "state", containerPath = "/state", readOnly = false }]
    linuxParameters        = { initProcessEnabled = true, capabilities = { drop = ["ALL"] } }
    # Fargate's other mounts belong to root.
    environment = [
      for name, value in merge({ TMPDIR = "/state" }, var.settings) : { name = name, value = value }
    ]
    secrets = [for name, arn in var.secrets : { name = name, valueFrom = arn }]
    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.this.name
        awslogs-region        = data.aws_region.current.name
        awslogs-stream-prefix = "service"
      }
    }
  }])
}

resource "aws_cloudwatch_log_group" "this" {
  name              = "/${var.name}/service/${var.problem}"
  retention_in_days = 365
  kms_key_id        = var.kms_key_arn
}

resource "aws_security_group" "this" {
  name_prefix = "${local.full_name}-"
  description = "The tasks of ${local.full_name}"
  vpc_id      = var.vpc_id
  tags        = { Name = local.full_name }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_vpc_security_group_ingress_rule" "balancer" {
  security_group_id            = aws_security_group.this.id
  description                  = "Its load balancer"
  referenced_security_group_id = module.load_balancer.security_group_id
  ip_protocol                  = "tcp"
  from_port                    = local.port
  to_port                      = local.port
}

# Images, logs and secrets come from AWS' own servers, by TLS.
resource "aws_vpc_security_group_egress_rule" "tls" {
  security_group_id = aws_security_group.this.id
  description       = "Images, logs, secrets"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

# What ECS may do to start a task.
resource "aws_iam_role" "start" {
  name               = "${local.full_name}-start"
  assume_role_policy = local.tasks_only
}

resource "aws_iam_role_policy" "start" {
  name = "start"
  role = aws_iam_role.start.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [
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
      ],
      # No statement may be without a resource.
      [for statement in [
        { Effect = "Allow", Action = "secretsmanager:GetSecretValue", Resource = values(var.secrets) },
        { Effect = "Allow", Action = "kms:Decrypt", Resource = [var.kms_key_arn] },
      ] : statement if length(var.secrets) > 0],
    )
  })
}

# What the service itself may do: nothing.
resource "aws_iam_role" "task" {
  name               = "${local.full_name}-task"
  assume_role_policy = local.tasks_only
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
