variable "region" {
  description = "The region of AWS."
  type        = string
}

variable "zones" {
  description = "Two availability zones of the region, such as eu-central-1a and eu-central-1b."
  type        = list(string)
}

variable "bucket" {
  description = "The name of the bucket of artifacts, which no other AWS account may have."
  type        = string
}

variable "domain" {
  description = "What the names of MLflow and the services end with: mlflow.DOMAIN, iris.DOMAIN."
  type        = string
}

variable "certificate_arn" {
  description = "A certificate of *.DOMAIN, in ACM of this region."
  type        = string
}

variable "client_cidrs" {
  description = "The networks whose computers may ask MLflow and the services."
  type        = set(string)
}

variable "github_repository" {
  description = "The repository whose workflows deploy: OWNER/NAME."
  type        = string
}

variable "oidc_provider_arn" {
  description = "GitHub's identity provider, where this account has it already; null: it is made."
  type        = string
  default     = null
}

variable "runner_digest" {
  description = "The pipelines' image, sha256:..., in which MLflow's server runs; null before it was pushed."
  type        = string
  default     = null
}

variable "zenml_url" {
  description = "ZenML's server, which is not made here."
  type        = string
}

variable "services" {
  description = "The problems that have a service on ECS, each with its size and settings."
  type = map(object({
    cpu      = optional(number, 1024)
    memory   = optional(number, 2048)
    settings = optional(map(string), {})
    secrets  = optional(map(string), {})
  }))
  default = {}
}

variable "functions" {
  description = "The problems that have a service on Lambda, each with the digest of its first image in the repository of its name, sha256:..."
  type = map(object({
    digest      = string
    memory      = optional(number, 1769)
    concurrency = optional(number, 10)
    settings    = optional(map(string), {})
  }))
  default = {}
}
