variable "environment" {
  description = "Which environment this is: its stack's and its GitHub environment's name, too."
  type        = string

  validation {
    condition     = contains(["staging", "production"], var.environment)
    error_message = "environment must be staging or production."
  }
}

variable "cidr" {
  description = "The network's addresses, as CIDR of 16 to 20 bits."
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

  validation {
    condition     = can(regex("^[a-z0-9-]+(\\.[a-z0-9-]+)+$", var.domain))
    error_message = "domain must be a name such as staging.example.org."
  }
}

variable "certificate_arn" {
  description = "A certificate of *.DOMAIN, in ACM of this region."
  type        = string

  validation {
    condition     = can(regex("^arn:aws:acm:", var.certificate_arn))
    error_message = "certificate_arn must be the ARN of a certificate in ACM."
  }
}

variable "client_cidrs" {
  description = "The networks whose computers may ask MLflow and the services."
  type        = set(string)

  validation {
    condition     = length(var.client_cidrs) > 0
    error_message = "client_cidrs must name a network at least: else nobody can ask."
  }
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
  description = "The pipelines' image in the repository `runner`, sha256:..., in which MLflow's server runs; null: it was not pushed yet, and there is no MLflow."
  type        = string
  default     = null

  validation {
    condition     = var.runner_digest == null || can(regex("^sha256:[0-9a-f]{64}$", var.runner_digest))
    error_message = "runner_digest must be sha256: and 64 hexadecimal digits."
  }
}

variable "zenml_url" {
  description = "ZenML's server, which is not made here."
  type        = string

  validation {
    condition     = can(regex("^https://", var.zenml_url))
    error_message = "zenml_url must begin with https://."
  }
}

variable "services" {
  description = "The problems that have a service on ECS, each with its size and settings."
  type = map(object({
    cpu      = optional(number, 1024)
    memory   = optional(number, 2048)
    settings = optional(map(string), {})
    secrets  = optional(map(string), {})
  }))
}

variable "tasks" {
  description = "How many tasks of a service run."
  type        = number

  validation {
    condition     = var.tasks >= 1
    error_message = "tasks must be at least 1."
  }
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

variable "database_class" {
  description = "The machine of MLflow's database."
  type        = string
}

variable "multi_az" {
  description = "Whether another zone has a copy of the database that takes over."
  type        = bool
}

variable "protect" {
  description = "Whether what holds data can be deleted only after this was unset."
  type        = bool
}
