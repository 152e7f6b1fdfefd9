output "dns_name" {
  description = "The load balancer; a CNAME record of the service's own name points here."
  value       = module.load_balancer.dns_name
}

output "listener_arns" {
  description = "The listeners that deployment switches."
  value       = [for listener in aws_lb_listener.this : listener.arn]
}

output "role_arns" {
  description = "The roles that deployment passes to tasks."
  value       = [aws_iam_role.start.arn, aws_iam_role.task.arn]
}

output "log_group_arn" {
  description = "Where the service's log is."
  value       = aws_cloudwatch_log_group.this.arn
}
