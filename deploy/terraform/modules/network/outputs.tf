output "vpc_id" {
  description = "The network's id."
  value       = aws_vpc.this.id
}

output "public_subnet_ids" {
  description = "The subnets for load balancers, one a zone."
  value       = aws_subnet.public[*].id
}

output "private_subnet_ids" {
  description = "The subnets for what runs and keeps data, one a zone."
  value       = aws_subnet.private[*].id
  # What starts there needs its way out.
  depends_on = [aws_route.private, aws_route_table_association.private]
}
