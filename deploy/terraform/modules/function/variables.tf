variable "name" {
  description = "What the names of all resources begin with: that of the environment."
  type        = string
}

variable "problem" {
  description = "The problem whose service this is, as its file in configs/problems/ is named."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9_]{0,30}$", var.problem))
    error_message = "problem must be lower-case letters, digits and underscores, 31 at most."
  }
}

variable "image" {
  description = "The image that the function is created with, NAME@sha256:... of deploy/lambda.Dockerfile. Later ones come by deployment."
  type        = string

  validation {
    condition     = can(regex("@sha256:[0-9a-f]{64}$", var.image))
    error_message = "image must be named by its digest: NAME@sha256:..."
  }
}

variable "kms_key_arn" {
  description = "The key that encrypts log and settings."
  type        = string
}

variable "memory" {
  description = "In MB; a processor comes with each 1769."
  type        = number
  default     = 1769

  validation {
    condition     = var.memory >= 512 && var.memory <= 10240
    error_message = "memory must be 512 to 10240 MB."
  }
}

variable "concurrency" {
  description = "How many requests are answered at once at most: what bounds the bill."
  type        = number
  default     = 10

  validation {
    condition     = var.concurrency >= 1
    error_message = "concurrency must be at least 1."
  }
}

variable "settings" {
  description = "The service's settings (docs/serving.md), MILLRACE_SERVE_..."
  type        = map(string)
  default     = {}
}
