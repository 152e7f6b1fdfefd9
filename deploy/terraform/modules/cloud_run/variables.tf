variable "name" {
  description = "What the names of all resources begin with: that of the environment."
  type        = string
}

variable "project" {
  description = "The project of Google Cloud."
  type        = string
}

variable "region" {
  description = "The region of Google Cloud."
  type        = string
}

variable "problems" {
  description = "The problems that have a service."
  type        = set(string)

  validation {
    condition     = alltrue([for problem in var.problems : can(regex("^[a-z][a-z0-9_]{0,40}$", problem))])
    error_message = "problems must be lower-case letters, digits and underscores, 41 at most."
  }
}

variable "github_repository" {
  description = "The repository whose workflows deploy: OWNER/NAME."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9-]+/[A-Za-z0-9._-]+$", var.github_repository))
    error_message = "github_repository must be OWNER/NAME, without wildcards."
  }
}

variable "github_environment" {
  description = "The environment of that repository, whose rules say who may deploy."
  type        = string
}

variable "callers" {
  description = "Who may ask the services, as members of IAM; allUsers lets everybody."
  type        = set(string)
}

variable "kms_key" {
  description = "The key of Cloud KMS that encrypts the images, in the same region."
  type        = string
}

variable "settings" {
  description = "The services' settings (docs/serving.md), MILLRACE_SERVE_..."
  type        = map(string)
  default     = { MILLRACE_SERVE_LOG = "off" }
}

variable "memory" {
  description = "Of an instance."
  type        = string
  default     = "2Gi"
}

variable "instances" {
  description = "How many instances of a service there are at least and at most."
  type        = object({ least = number, most = number })
  default     = { least = 0, most = 10 }
}
