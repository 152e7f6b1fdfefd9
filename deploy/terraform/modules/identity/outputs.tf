output "deployment_role_arn" {
  description = "The role that workflows take on; a variable of the repository's environment."
  value       = aws_iam_role.deployment.arn
}

output "pipelines_user" {
  description = "The user whose key the stack has."
  value       = aws_iam_user.pipelines.name
}
