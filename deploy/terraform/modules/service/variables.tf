variable "name" {
  description = "What the names of all resources begin with: that of the environment, which is the cluster's, too."
  type        = string
}

variable "problem" {
  description = "The problem whose service this is, as its file in configs/problems/ is named."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9_]{0,40}$", var.problem))
    error_message = "problem must be lower-case letters, digits and underscores, 41 at most."
  }
}

variable "cluster_arn" {
  description = "The ECS cluster."
  type        = string
}

variable "vpc_id" {
  description = "The network."
  type        = string
}

variable "public_subnet_ids" {
  description = "Where the load balancer stands."
  type        = list(string)
}

variable "private_subnet_ids" {
  description = "Where the tasks run."
  type        = list(string)
}

variable "client_cidrs" {
  description = "The networks whose computers may ask for predictions, and those that deploy."
  type        = set(string)
}

variable "certificate_arn" {
  description = "The certificate of the load balancer's name, in ACM."
  type        = string
}

variable "repository_url" {
  description = "The repository of the service's images, without a tag."
  type        = string
}

variable "repository_arn" {
  description = "The same repository's ARN."
  type        = string
}

variable "kms_key_arn" {
  description = "The key that encrypts logs, images and secrets."
  type        = string
}

variable "cpu" {
  description = "Of a task, in 1024ths of a processor."
  type        = number
  default     = 1024

  validation {
    condition     = contains([256, 512, 1024, 2048, 4096], var.cpu)
    error_message = "cpu must be what Fargate has: 256, 512, 1024, 2048 or 4096."
  }
}

variable "memory" {
  description = "Of a task, in MiB."
  type        = number
  default     = 2048
}

variable "settings" {
  description = "The service's settings (docs/serving.md), MILLRACE_SERVE_..., in clear text."
  type        = map(string)
  default     = {}
}

variable "secrets" {
  description = "Settings that are secret: of each the ARN of its secret in Secrets Manager."
  type        = map(string)
  default     = {}
}

variable "protect" {
  description = "Whether the load balancer can be deleted only after this was unset."
  type        = bool
}
