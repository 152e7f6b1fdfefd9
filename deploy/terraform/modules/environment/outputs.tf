output "stack" {
  description = "The variables of the stack's file, but for the secret ones."
  value = {
    for name, value in merge(
      {
        S3_ENDPOINT = "https://s3.${data.aws_region.current.name}.amazonaws.com"
        S3_BUCKET   = module.artifact_store.bucket
        S3_REGION   = data.aws_region.current.name
        MLFLOW_USER = "millrace"
        ZENML_URL   = var.zenml_url
        REGISTRY    = split("/", module.registry.urls["${local.name}/runner"])[0]
      },
      { for tracking in module.tracking : "MLFLOW_URL" => tracking.url },
    ) : "MILLRACE_${upper(var.environment)}_${name}" => value
  }
}

output "secrets" {
  description = "Where the secret ones are had from."
  value = {
    pipelines_user  = module.identity.pipelines_user
    password_secret = one(module.tracking[*].password_secret)
  }
}

output "targets" {
  description = "The variables of the targets' files in configs/targets/."
  value = {
    ecs = {
      MILLRACE_ECS_REGION   = data.aws_region.current.name
      MILLRACE_ECS_CLUSTER  = aws_ecs_cluster.this.name
      MILLRACE_ECS_DOMAIN   = var.domain
      MILLRACE_ECS_REGISTRY = "${split("/", module.registry.urls["${local.name}/runner"])[0]}/${local.name}"
      MILLRACE_ECS_TASKS    = tostring(var.tasks)
    }
    lambda = {
      MILLRACE_LAMBDA_REGION   = data.aws_region.current.name
      MILLRACE_LAMBDA_NAME     = local.name
      MILLRACE_LAMBDA_REGISTRY = "${split("/", module.registry.urls["${local.name}/runner"])[0]}/${local.name}"
    }
  }
}

output "dns" {
  description = "The CNAME records to be made: name and what it points to."
  value = merge(
    { for problem, service in module.service : local.hosts[problem] => service.dns_name },
    { for tracking in module.tracking : "mlflow.${var.domain}" => tracking.dns_name },
  )
}

output "deployment_role_arn" {
  description = "The role that GitHub's workflows take on in this environment."
  value       = module.identity.deployment_role_arn
}
