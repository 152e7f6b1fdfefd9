variable "name" {
  description = "What the names of all resources begin with: that of the environment."
  type        = string
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
  description = "Where the server and the database run."
  type        = list(string)
}

variable "client_cidrs" {
  description = "The networks that train and look at runs."
  type        = set(string)
}

variable "host" {
  description = "The name by which MLflow is asked, and that a CNAME record has."
  type        = string
}

variable "certificate_arn" {
  description = "The certificate of that name, in ACM."
  type        = string
}

variable "image" {
  description = "The pipelines' image, NAME@sha256:... : servers and clients are of the same versions."
  type        = string

  validation {
    condition     = can(regex("@sha256:[0-9a-f]{64}$", var.image))
    error_message = "image must be named by its digest: NAME@sha256:..."
  }
}

variable "repository_arn" {
  description = "The ARN of the repository that image is in."
  type        = string
}

variable "bucket" {
  description = "The bucket of models and artifacts."
  type        = string
}

variable "bucket_arn" {
  description = "The same bucket's ARN."
  type        = string
}

variable "kms_key_arn" {
  description = "The key that encrypts database, log and secrets."
  type        = string
}

variable "database_class" {
  description = "The database's machine."
  type        = string
  default     = "db.t4g.micro"
}

variable "database_gigabytes" {
  description = "The database's disk at first; it grows up to five times that."
  type        = number
  default     = 20

  validation {
    condition     = var.database_gigabytes >= 20
    error_message = "database_gigabytes must be at least 20."
  }
}

variable "multi_az" {
  description = "Whether another zone has a copy of the database that takes over: twice the price."
  type        = bool
}

variable "backup_days" {
  description = "How many days back the database can be restored."
  type        = number
  default     = 14

  validation {
    condition     = var.backup_days >= 1 && var.backup_days <= 35
    error_message = "backup_days must be 1 to 35."
  }
}

variable "protect" {
  description = "Whether database and load balancer can be deleted only after this was unset; the database leaves a last snapshot then."
  type        = bool
}
