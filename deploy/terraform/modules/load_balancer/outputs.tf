output "arn" {
  description = "The load balancer's ARN."
  value       = aws_lb.this.arn
}

output "dns_name" {
  description = "Where it is found; a CNAME record of one's own domain points here."
  value       = aws_lb.this.dns_name
}

output "security_group_id" {
  description = "Who comes from it has this security group."
  value       = aws_security_group.this.id
}
