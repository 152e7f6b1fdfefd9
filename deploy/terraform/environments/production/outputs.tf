output "stack" {
  description = "The variables of the stack's file, but for the secret ones."
  value       = module.environment.stack
}

output "secrets" {
  description = "Where the secret ones are had from."
  value       = module.environment.secrets
}

output "targets" {
  description = "The variables of the targets' files in configs/targets/."
  value       = module.environment.targets
}

output "dns" {
  description = "The CNAME records to be made: name and what it points to."
  value       = module.environment.dns
}

output "deployment_role_arn" {
  description = "The role that GitHub's workflows take on in this environment."
  value       = module.environment.deployment_role_arn
}
