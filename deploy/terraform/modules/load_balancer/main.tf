# A load balancer, and who may connect to it. Its listeners belong to what it leads to.

data "aws_vpc" "this" {
  id = var.vpc_id
}

resource "aws_lb" "this" {
  #checkov:skip=CKV_AWS_91:Its log would keep the addresses of all who ask; requests are counted by CloudWatch and kept by the prediction log.
  #checkov:skip=CKV_AWS_150:Protected by var.protect, which only staging unsets.
  #checkov:skip=CKV2_AWS_28:Who may connect is a list of networks; the service refuses what its contract does not allow.
  name_prefix                = "mill-"
  load_balancer_type         = "application"
  security_groups            = [aws_security_group.this.id]
  subnets                    = var.subnet_ids
  drop_invalid_header_fields = true
  enable_deletion_protection = var.protect
  tags                       = { Name = var.name }
}

resource "aws_security_group" "this" {
  name_prefix = "${var.name}-balancer-"
  description = "The load balancer of ${var.name}"
  vpc_id      = var.vpc_id
  tags        = { Name = "${var.name}-balancer" }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_vpc_security_group_ingress_rule" "clients" {
  for_each          = { for pair in setproduct(var.client_cidrs, var.ports) : "${pair[0]} ${pair[1]}" => pair }
  security_group_id = aws_security_group.this.id
  description       = "Clients"
  cidr_ipv4         = each.value[0]
  ip_protocol       = "tcp"
  from_port         = each.value[1]
  to_port           = each.value[1]
}

resource "aws_vpc_security_group_egress_rule" "targets" {
  security_group_id = aws_security_group.this.id
  description       = "What it leads to"
  cidr_ipv4         = data.aws_vpc.this.cidr_block
  ip_protocol       = "tcp"
  from_port         = var.target_port
  to_port           = var.target_port
}
