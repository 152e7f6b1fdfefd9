output "urls" {
  description = "Where each alias is asked."
  value       = { for alias, url in aws_lambda_function_url.this : alias => url.function_url }
}

output "arn" {
  description = "The function's ARN, without a version."
  value       = aws_lambda_function.this.arn
}
