output "targets" {
  description = "The variables of configs/targets/cloud-run.yaml."
  value = {
    cloud-run = {
      MILLRACE_CLOUD_RUN_PROJECT  = var.project
      MILLRACE_CLOUD_RUN_REGION   = var.region
      MILLRACE_CLOUD_RUN_REGISTRY = "${var.region}-docker.pkg.dev/${var.project}/${google_artifact_registry_repository.this.repository_id}"
    }
  }
}

output "deployment_account" {
  description = "The account that GitHub's workflows take on."
  value       = google_service_account.deployment.email
}

output "identity_provider" {
  description = "What they name as their identity provider."
  value       = google_iam_workload_identity_pool_provider.github.name
}
