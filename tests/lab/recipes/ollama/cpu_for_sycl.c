/* There is no Intel GPU here, and the real library ends the process without one: hand back the CPU's backend. */
extern void *ggml_backend_dev_by_type(int), *ggml_backend_dev_init(void *, const char *),
    *ggml_backend_dev_buffer_type(void *);
#pragma weak ggml_backend_dev_by_type
#pragma weak ggml_backend_dev_init
#pragma weak ggml_backend_dev_buffer_type

int ggml_backend_sycl_get_device_count(void) { return 1; }

void *ggml_backend_sycl_buffer_type(int device)
{
    (void)device;
    return ggml_backend_dev_buffer_type(ggml_backend_dev_by_type(0));
}

void *ggml_backend_sycl_init(int device)
{
    (void)device;
    return ggml_backend_dev_init(ggml_backend_dev_by_type(0), 0);
}
