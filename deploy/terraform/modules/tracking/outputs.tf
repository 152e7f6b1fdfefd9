output "url" {
  description = "Where MLflow is asked, as the user `millrace`."
  value       = "https://${var.host}"
}

output "dns_name" {
  description = "The load balancer; a CNAME record of the host points here."
  value       = module.load_balancer.dns_name
}

output "password_secret" {
  description = "The name of the secret that has that user's password."
  value       = aws_secretsmanager_secret.this["password"].name
}
