variable "bucket" {
  description = "The bucket's name, which no other AWS account may have."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.bucket))
    error_message = "bucket must have 3 to 63 lower-case letters, digits and hyphens."
  }
}

variable "kms_key_arn" {
  description = "The key that encrypts what is stored."
  type        = string
}

variable "keep_days" {
  description = "How many days what was deleted or overwritten can be had back."
  type        = number
  default     = 90
}

variable "force_destroy" {
  description = "Whether `terraform destroy` deletes a bucket that is not empty."
  type        = bool
  default     = false
}
