# Services on Cloud Run, their images in Artifact Registry, and the role by which workflows deploy. Which revision
# has the traffic is the business of deployment (targets/cloud_run.py).

resource "google_artifact_registry_repository" "this" {
  project       = var.project
  location      = var.region
  repository_id = var.name
  format        = "DOCKER"
  kms_key_name  = var.kms_key

  docker_config {
    immutable_tags = true
  }
}

resource "google_cloud_run_v2_service" "this" {
  for_each            = var.problems
  project             = var.project
  location            = var.region
  name                = replace(each.key, "_", "-")
  deletion_protection = true

  template {
    service_account = google_service_account.service.email

    scaling {
      min_instance_count = var.instances.least
      max_instance_count = var.instances.most
    }

    containers {
      # Google's sample; deployment puts the service's image here.
      image = "us-docker.pkg.dev/cloudrun/container/hello"

      ports {
        container_port = 3000
      }

      resources {
        limits = { cpu = "1", memory = var.memory }
      }

      startup_probe {
        period_seconds    = 5
        failure_threshold = 24
        tcp_socket {
          port = 3000
        }
      }

      dynamic "env" {
        # The disk of an instance is its memory, and belongs to root but for /tmp.
        for_each = merge({ BENTOML_HOME = "/tmp/state" }, var.settings)
        content {
          name  = env.key
          value = env.value
        }
      }
    }
  }

  lifecycle {
    ignore_changes = [
      client,
      client_version,
      template[0].containers[0].env,
      template[0].containers[0].image,
      template[0].revision,
      traffic,
    ]
  }
}

resource "google_cloud_run_v2_service_iam_member" "callers" {
  for_each = { for pair in setproduct(var.problems, var.callers) : "${pair[0]} ${pair[1]}" => pair }
  project  = var.project
  location = var.region
  name     = google_cloud_run_v2_service.this[each.value[0]].name
  role     = "roles/run.invoker"
  member   = each.value[1]
}

# What the services are: somebody who may do nothing.
resource "google_service_account" "service" {
  project      = var.project
  account_id   = "${var.name}-service"
  display_name = "Millrace's services"
}

# Who deploys: workflows of one repository in one of its environments, without a key.
resource "google_service_account" "deployment" {
  project      = var.project
  account_id   = "${var.name}-deploy"
  display_name = "Workflows of ${var.github_repository} in ${var.github_environment}"
}

resource "google_iam_workload_identity_pool" "github" {
  project                   = var.project
  workload_identity_pool_id = "${var.name}-github"
}

resource "google_iam_workload_identity_pool_provider" "github" {
  #checkov:skip=CKV_GCP_125:It wants to read OWNER/NAME in the condition, where a variable is that may be nothing else.
  project                            = var.project
  workload_identity_pool_id          = google_iam_workload_identity_pool.github.workload_identity_pool_id
  workload_identity_pool_provider_id = "github"
  attribute_mapping                  = { "google.subject" = "assertion.sub" }
  attribute_condition                = "assertion.sub == 'repo:${var.github_repository}:environment:${var.github_environment}'"

  oidc {
    issuer_uri = "https://token.actions.githubusercontent.com"
  }
}

resource "google_service_account_iam_member" "github" {
  service_account_id = google_service_account.deployment.name
  role               = "roles/iam.workloadIdentityUser"
  member             = "principal://iam.googleapis.com/${google_iam_workload_identity_pool.github.name}/subject/repo:${var.github_repository}:environment:${var.github_environment}"
}

resource "google_artifact_registry_repository_iam_member" "push" {
  project    = var.project
  location   = var.region
  repository = google_artifact_registry_repository.this.name
  role       = "roles/artifactregistry.writer"
  member     = google_service_account.deployment.member
}

resource "google_cloud_run_v2_service_iam_member" "deploy" {
  for_each = var.problems
  project  = var.project
  location = var.region
  name     = google_cloud_run_v2_service.this[each.key].name
  role     = "roles/run.developer"
  member   = google_service_account.deployment.member
}

# A deployment makes revisions that run as this account, and counts requests in the log.
resource "google_service_account_iam_member" "act" {
  service_account_id = google_service_account.service.name
  role               = "roles/iam.serviceAccountUser"
  member             = google_service_account.deployment.member
}

resource "google_project_iam_member" "logs" {
  project = var.project
  role    = "roles/logging.viewer"
  member  = google_service_account.deployment.member
}
