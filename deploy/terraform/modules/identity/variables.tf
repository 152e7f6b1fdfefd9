variable "name" {
  description = "What the names of all resources begin with: that of the environment."
  type        = string
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

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]+$", var.github_environment))
    error_message = "github_environment must be one name, without wildcards."
  }
}

variable "oidc_provider_arn" {
  description = "GitHub's identity provider in this account, of which there can be one; null: it is made here."
  type        = string
  default     = null
}

variable "repository_arns" {
  description = "The repositories that images may be pushed to."
  type        = list(string)
}

variable "cluster_arn" {
  description = "The ECS cluster whose services may be updated."
  type        = string
}

variable "role_arns" {
  description = "The roles that may be passed to tasks."
  type        = list(string)
}

variable "listener_arns" {
  description = "The listeners that may be switched."
  type        = list(string)
}

variable "log_group_arns" {
  description = "The logs that may be read, to tell why a candidate did not come up."
  type        = list(string)
}

variable "function_arns" {
  description = "The functions that may be deployed."
  type        = list(string)
}

variable "bucket_arn" {
  description = "The bucket that pipelines read and write."
  type        = string
}

variable "kms_key_arn" {
  description = "The key that encrypts it."
  type        = string
}
