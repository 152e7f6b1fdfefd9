output "urls" {
  description = "Of each repository the name that images are pushed and pulled by, without a tag."
  value       = { for name, repository in aws_ecr_repository.this : name => repository.repository_url }
  # A function is made of an image that Lambda may read.
  depends_on = [aws_ecr_repository_policy.functions]
}

output "arns" {
  description = "Of each repository the ARN."
  value       = { for name, repository in aws_ecr_repository.this : name => repository.arn }
}
